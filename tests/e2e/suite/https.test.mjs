// Pages on other machines get a camera over https only.

import { scenario } from '../harness/scenario.mjs';

// The certificate is made for this test, so nobody vouches for it; this process talks to nobody else.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';

scenario('two tabs call each other over https', { tls: true }, async ({ open }) => {
  const trusting = { ignoreHTTPSErrors: true };
  const tabs = [await open({ name: 'Ada' }, trusting), await open({ name: 'Grace' }, trusting)];
  await Promise.all(tabs.map((tab) => tab.inCallWith(1)));
});
