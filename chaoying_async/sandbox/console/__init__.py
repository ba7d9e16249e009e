"""The sandbox in a browser: orders, messages, notifications, faults, and the signature doctor.

Served under ``/console/`` on the sandbox's own port. Plain pages that Starlette serves and Jinja2
fills, and one small script that keeps them fresh: they come complete from the server, so they work
without the script too, offline, with a keyboard and on a phone, and add 1 MB to an installation.
(NiceGUI, which was tried, adds 130 MB and has every click travel over a WebSocket of its own.)

- ``site``: the ASGI application: its addresses, and what goes around every page.
- ``pages``: one module for each kind of page.
- ``paging``: which part of a long list is shown, and the links to the others.
- ``visit``: what a page is given of a browser's request, and how it answers.
- ``cashier``: calls that a person makes through the console, signed as a shop's are.
- ``journal``: the latest requests and replies, and keeping them in the sandbox's file.
- ``amounts``: amounts that people type, and the scenario that each sets off.
- ``connecting``: what to put into the environment of a program that uses this sandbox.
- ``live``: tells browsers that something changed.
- ``display``: how bytes, orders, amounts and moments are shown.
- ``words``: every word on the pages, in English and Chinese.
"""
