"""Python's servers that parse HTTP each by code of its own, with an application that writes down what it was told, and
says it back: `servers.py tornado`, and so on; for uvicorn it is `servers:asgi`.

What a server refuses is no request of the gateway's, so each says that it did: `refused`, and the request line if it had
one.
"""
import json
import os
import sys

from app import application, note

HEAD = [("Content-Type", "application/json")]


def told(method, target, fields, body):
    """Takes bytes; names in lower case, as the others write them."""
    fields = [[name.decode("latin-1").lower(), value.decode("latin-1")] for name, value in fields]
    return note({"method": method, "target": target, "fields": fields, "body": body.decode("latin-1")})


def refused(what):
    print("refused", what, flush=True)


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    line = told(scope["method"], target.decode("latin-1"), scope["headers"], body)
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(line)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": line})


def tornado(port):
    import logging

    from tornado import httpserver, httputil, ioloop

    def answer(request):
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.get_all()]
        line = told(request.method, request.uri, fields, request.body)
        start = httputil.ResponseStartLine("HTTP/1.1", 200, "OK")
        head = httputil.HTTPHeaders(dict(HEAD, **{"Content-Length": str(len(line))}))
        request.connection.write_headers(start, head, b"" if request.method == "HEAD" else line)
        request.connection.finish()

    class Refusals(logging.Handler):
        def emit(self, record):
            if "Malformed" in record.getMessage():
                refused(record.getMessage())

    logging.getLogger("tornado.general").addHandler(Refusals())
    logging.getLogger("tornado.general").setLevel(logging.INFO)
    httpserver.HTTPServer(answer, idle_connection_timeout=60).listen(port, "127.0.0.1")
    ioloop.IOLoop.current().start()


def cheroot(port):
    from cheroot import server, wsgi

    class Request(server.HTTPRequest):
        def simple_response(self, status, msg=""):
            if not str(status).startswith("2"):
                line = getattr(self, "method", b"") + b" " + getattr(self, "uri", b"")
                refused("%s %s %s" % (status, line.decode("latin-1"), msg))
            return super().simple_response(status, msg)

    server.HTTPConnection.RequestHandlerClass = Request
    wsgi.Server(("127.0.0.1", port), application, numthreads=8, timeout=60).start()


def twisted(port):
    from twisted.internet import reactor
    from twisted.web import http, resource, server

    class Application(resource.Resource):
        isLeaf = True

        def render(self, request):
            raw = request.requestHeaders.getAllRawHeaders()
            fields = [(name, value) for name, values in raw for value in values]
            line = told(request.method.decode("latin-1"), request.uri.decode("latin-1"), fields, request.content.read())
            for name, value in HEAD:
                request.setHeader(name, value)
            request.setHeader("Content-Length", str(len(line)))
            return line

    respond = http.HTTPChannel._respondToBadRequestAndDisconnect

    def refuse(channel):
        refused(repr(channel.requests[-1:]))
        return respond(channel)

    http.HTTPChannel._respondToBadRequestAndDisconnect = refuse
    reactor.listenTCP(port, server.Site(Application(), timeout=60), interface="127.0.0.1")
    reactor.run()


def aiohttp(port):
    import asyncio
    import logging

    from aiohttp import web

    async def answer(request):
        line = told(request.method, request.raw_path, request.raw_headers, await request.read())
        return web.Response(body=line, headers=dict(HEAD))

    class Refusals(logging.Handler):
        def emit(self, record):
            fault = record.exc_info and record.exc_info[1]
            # A connection that simply ends is no request.
            if not isinstance(fault, ConnectionResetError):
                refused(record.getMessage() + " " + repr(fault))

    logging.getLogger("aiohttp.server").addHandler(Refusals())

    async def serve():
        runner = web.ServerRunner(web.Server(answer, keepalive_timeout=60, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    {"tornado": tornado, "cheroot": cheroot, "twisted": twisted, "aiohttp": aiohttp}[sys.argv[1]](
        int(os.environ["BACKEND_PORT"])
    )
