// A worker's timer keeps its pace in a tab that is not shown; a page's timer does not.

let timer = 0;

self.addEventListener('message', ({ data }) => {
  clearInterval(timer);
  if (data.intervalMs > 0) timer = setInterval(() => self.postMessage(0), data.intervalMs);
});
