"""Hears what rule nodes publish to RabbitMQ, by pika. Says as JSON lines when it listens and what it is told.

Arguments: host and port. It makes the exchange "plant", whose messages with the routing key "oven" it hears, and the queue "small",
which is full with one message and refuses more. On {"do": "empty"} it takes that message and hears that queue, too.
"""

import json
import sys
import threading

import pika


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def heard(channel, method, properties, body):
    say(
        "message",
        exchange=method.exchange,
        routing_key=method.routing_key,
        body=body.decode(),
        id=properties.message_id,
        key=(properties.headers or {}).get("idempotency-key"),
        kind=properties.content_type,
        mode=properties.delivery_mode,
        priority=properties.priority,
    )


connection = pika.BlockingConnection(pika.ConnectionParameters(sys.argv[1], int(sys.argv[2]), connection_attempts=30, retry_delay=1))
channel = connection.channel()
channel.exchange_declare("plant", "direct")
channel.queue_declare("oven")
channel.queue_bind("oven", "plant", "oven")
channel.queue_declare("small", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
channel.basic_publish("", "small", b"the first")
channel.basic_consume("oven", heard, auto_ack=True)
say("listening")


def wait_for_a_command():
    sys.stdin.readline()
    connection.add_callback_threadsafe(empty)


def empty():
    channel.queue_purge("small")
    channel.basic_consume("small", heard, auto_ack=True)


threading.Thread(target=wait_for_a_command, daemon=True).start()
channel.start_consuming()
