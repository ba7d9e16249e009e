"""``chaoying describe``: the calls as OpenAPI, the notifications as AsyncAPI."""

from __future__ import annotations

import json

import click

from chaoying_async.cli import gateway_options, output, streams


@click.command(name="describe")
@click.argument("what", type=click.Choice(["openapi", "asyncapi"]))
@gateway_options.where_options
@output.json_option
def describe(what: str, url: str | None, hosts: str) -> None:
    """Describe all calls (openapi) or both notifications (asyncapi) to programs.

    Prints a JSON document, OpenAPI 3.1 or AsyncAPI 3.0: for making a client in another language,
    and for checking messages. Signing is yours: the document says how. Nothing is sent. A running
    sandbox serves the same at /openapi.json and /asyncapi.json.
    """
    from chaoying_async.descriptions.asyncapi import asyncapi
    from chaoying_async.descriptions.openapi import openapi

    where = gateway_options.target(url, hosts)
    document = asyncapi() if what == "asyncapi" else openapi(where.hosts)
    if output.as_json():
        output.tell({"ok": True, what: document})
        return
    text = json.dumps(document, ensure_ascii=False, indent=2)
    click.echo(text if streams.takes(text) else json.dumps(document, indent=2))
