"""Canaille, over TLS on loopback, with the people and the client that standard input names.

Says "ready" once it listens. What it keeps is in memory, and ends with it.
"""

import asyncio
import json
import sys

from asgiref.wsgi import WsgiToAsgi
from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from hypercorn.asyncio import serve
from hypercorn.config import Config
from joserfc.jwk import RSAKey

site = json.load(sys.stdin)
key = RSAKey.generate_key(2048, auto_kid=True, parameters={"use": "sig", "alg": "RS256"})
app = create_app(
    config={
        "SECRET_KEY": "a throw-away provider",
        "SERVER_NAME": site["name"],
        "PREFERRED_URL_SCHEME": "https",
        "CANAILLE": {"DATABASE": "memory", "JAVASCRIPT": False},
        "CANAILLE_OIDC": {
            "ACTIVE_JWKS": [key.as_dict(private=True)],
            # By default whoever is on localhost is trusted, and nobody asked.
            "TRUSTED_DOMAINS": [],
            # Its default sends the display name, which is no username.
            "USERINFO_MAPPING": {"PREFERRED_USERNAME": "{{ user.preferred_email }}"},
        },
    }
)
with app.app_context():
    for person in site["people"]:
        user = models.User(
            user_name=person["name"],
            formatted_name=person["name"].title(),
            family_name=person["name"].title(),
            emails=[person["email"]],
        )
        Backend.instance.save(user)
        Backend.instance.set_user_password(user, person["password"])
    client = models.Client(**site["client"])
    Backend.instance.save(client)
    client.audience = [client]
    Backend.instance.save(client)

config = Config()
config.bind = [site["bind"]]
config.certfile = site["certificate"]
config.keyfile = site["key"]


async def main():
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(WsgiToAsgi(app), config, shutdown_trigger=stop.wait))
    host, port = site["bind"].split(":")
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        print("ready", flush=True)
        break
    await serving


asyncio.run(main())
