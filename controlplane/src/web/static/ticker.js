// A worker's timer keeps its pace in a tab that is not shown; a page's timer does not. Each tick is
// the time at which it was sent, on a clock that the page has, too.

let timer = 0;

self.addEventListener('message', ({ data }) => {
  clearInterval(timer);
  if (data.intervalMs > 0) timer = setInterval(() => self.postMessage(now()), data.intervalMs);
});

function now() {
  return performance.timeOrigin + performance.now();
}
