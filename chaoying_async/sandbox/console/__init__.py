"""The sandbox in a browser: orders, messages, notifications, faults, and the signature doctor.

Served under ``/console/`` on the sandbox's own port. Plain pages that Starlette serves and Jinja2
fills, and one small script that keeps them fresh: they come complete from the server, so they work
without the script too, offline, with a keyboard and on a phone, and add 1 MB to an installation.
(NiceGUI, which was tried, adds 130 MB and has every click travel over a WebSocket of its own.)

=============  ==================================================================
``site``       the ASGI application: addresses, and what goes around every page
``security``   who may look, and which posts come from our own pages
``journal``    the latest requests and replies
``live``       telling browsers that something changed
``shown``      what a page may show of bytes and orders: masked, and for people
``cashier``    calls that a person makes through the console, signed as any other
``page_*``     one page each
``texts``      every word on the pages, in ``english`` and ``chinese``
=============  ==================================================================
"""
