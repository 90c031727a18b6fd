// The suite's origin. Its own server listens on every interface; here its parts listen on loopback.
import { once } from 'node:events';
import { createServer } from 'node:http';

/** @param {import('./suite.mjs').Handlers} handlers */
export async function startOrigin(handlers) {
  const server = createServer((request, response) => {
    const [part, ...segments] = new URL(request.url ?? '/', 'http://origin').pathname.split('/').slice(1);
    if (part === 'config' || part === 'test' || part === 'state') {
      handlers[part](segments, request, response);
    } else {
      response.writeHead(404).end();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
