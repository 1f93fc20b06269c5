"""Hears what rule nodes publish to a NATS server, by nats-py. Says as JSON lines when it listens and what it is told.

Arguments: host and port. It makes a stream of "plant.kept.>" and subscribes to "plant.>".
"""

import asyncio
import json
import sys

import nats


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


async def main():
    client = await nats.connect(f"nats://{sys.argv[1]}:{sys.argv[2]}", user="plant", password="secret")
    await client.jetstream().add_stream(name="PLANT", subjects=["plant.kept.>"])

    async def heard(message):
        headers = message.headers or {}
        say("message", subject=message.subject, body=message.data.decode(), key=headers.get("Nats-Msg-Id"))

    await client.subscribe("plant.>", cb=heard)
    await client.flush()
    say("listening")
    await asyncio.Event().wait()


asyncio.run(main())
