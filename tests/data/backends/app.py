"""The application behind a Python WSGI server: writes down what it was told, and says it back.

A WSGI server hands fields over as CGI does: upper case, `_` for `-`. What two names become there is one variable.
"""
import json
import os


def note(told):
    line = json.dumps(told).encode()
    log = os.open(os.environ["BACKEND_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, line + b"\n")
    os.close(log)
    return line


def application(environ, start_response):
    fields = [[name[5:].replace("_", "-").lower(), value] for name, value in environ.items() if name.startswith("HTTP_")]
    body = environ["wsgi.input"].read()
    # gunicorn and Cheroot hand a body that was cut off over as if it were whole: nothing before them that passes bodies on
    # as they come can know, and a careful application looks.
    if len(body) != int(environ.get("CONTENT_LENGTH") or len(body)):
        start_response("400 Bad Request", [("Content-Length", "0")])
        return []
    target = environ["RAW_URI"] if "RAW_URI" in environ else environ["REQUEST_URI"]
    line = note({"method": environ["REQUEST_METHOD"], "target": target, "fields": sorted(fields), "body": body.decode("latin-1")})
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(line)))])
    return [line]
