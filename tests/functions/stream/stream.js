// Streams the parcels of an order as it packs them, a line of JSON each: `event.parcels` chunks, 5 ms apart.
'use strict';
const http = require('http');

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new http.Agent({ keepAlive: true });
const base = '/2018-06-01/runtime/invocation/';
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function next() {
  return new Promise((resolve, reject) => {
    http.get({ host, port, agent, path: `${base}next` }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => resolve([answer.headers['lambda-runtime-aws-request-id'], JSON.parse(Buffer.concat(parts))]));
    }).on('error', reject);
  });
}

function stream(id, event) {
  return new Promise((resolve, reject) => {
    const request = http.request({
      host, port, agent, method: 'POST', path: `${base}${id}/response`,
      headers: {
        'Content-Type': 'application/x-ndjson',
        'Lambda-Runtime-Function-Response-Mode': 'streaming',
        'Transfer-Encoding': 'chunked',
      },
    }, (answer) => { answer.resume(); answer.on('end', resolve); });
    request.on('error', reject);
    (async () => {
      for (let parcel = 1; parcel <= event.parcels; parcel += 1) {
        request.write(`{"order": ${event.order}, "parcel": ${parcel}}\n`);
        await wait(5);
      }
      console.log(JSON.stringify({ level: 'INFO', message: 'order packed', order: event.order, parcels: event.parcels }));
      request.end();
    })();
  });
}

(async () => {
  for (;;) {
    const [id, event] = await next();
    await stream(id, event).catch((error) => console.log(`the caller has gone: ${error.code}`));
  }
})();
