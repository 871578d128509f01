// The application on node:http, whose parser is told to forgive: writes down what it received, and says it back.
import { appendFileSync } from "node:fs";
import http from "node:http";

const note = (told) => {
  const line = JSON.stringify(told);
  appendFileSync(process.env.BACKEND_LOG, line + "\n");
  return line;
};

const server = http.createServer({ insecureHTTPParser: true, keepAliveTimeout: 60_000, joinDuplicateHeaders: false });
server.on("request", (request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const fields = [];
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      fields.push([request.rawHeaders[at].toLowerCase(), request.rawHeaders[at + 1]]);
    }
    const body = Buffer.concat(pieces).toString("latin1");
    const line = note({ method: request.method, target: request.url, fields, body });
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(line) });
    response.end(line);
  });
});
for (const odd of ["upgrade", "connect"]) {
  server.on(odd, (request, socket) => {
    note({ stray: `${odd}: ${request.method} ${request.url}` });
    socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  });
}
server.on("clientError", (error, socket) => {
  // A connection that simply ends is no request.
  if (error.code !== "ECONNRESET" && error.code !== "HPE_INVALID_EOF_STATE") {
    note({ stray: `${error.code}: ${error.rawPacket?.toString("latin1").slice(0, 300)}` });
  }
  socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
});
server.listen(Number(process.env.BACKEND_PORT), "127.0.0.1");
