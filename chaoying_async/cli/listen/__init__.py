"""The parts of ``chaoying listen``: receive, verify, keep, pass on and show notifications.

- ``bounded_doctor``: runs the signature doctor on what strangers send, within limits.
- ``event_log``: keeps verified notifications in a file until they are passed on.
- ``forwarder``: posts a notification to the user's program until it answers ``success``.
- ``line_writer``: writes the lines in a thread, and limits how many strangers can cause.
- ``listen_app``: the ASGI application behind ``notify_url``: what each delivery is answered.
"""
