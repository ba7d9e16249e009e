"""Decides what is signed, sent, believed and repeated, without doing any of it.

Nothing in here has a socket, a clock, randomness, the environment, files or ``async``: whatever a
function needs is an argument, so synchronous programs use this part as it is.

- ``api``: every request of the document and what it brings back, a module for each chapter.
- ``audit``: the record of one exchange, with everything personal masked.
- ``call_numbers``: how the calls of a session ended, and how long they took, counted.
- ``credentials``: who signs, with which keys, and how.
- ``currency``: an amount in words, in yuan or in the currency that a message names.
- ``doctor``: which mistake makes this sign out of this message and this key.
- ``enums``: the code tables of the document.
- ``errorchain``: from an error to everything that led to it.
- ``exchange``: one request becomes bytes and an address, and bytes become its reply or an error.
- ``explanation``: what is proven of one order, what is not, what to do next, and why.
- ``fieldnames``: every name of the document, and which of them hold something personal.
- ``hosts``: where requests go, and which addresses may be spoken to at all.
- ``matching``: does this reply answer this request.
- ``meaning``: what the status fields of a reply mean, as tables.
- ``model``: the shape of all requests and results: frozen, and silent about personal data.
- ``notifications``: what a notification says, and what is done about it.
- ``observed``: what an observer is told of the library's work, and what it cannot be told.
- ``paid``: what is known of a paid order, and of one that has gone into refund.
- ``payments``: when a payment at a till is asked about, cancelled and given up.
- ``polling``: when a waiting order is asked about, and what an answer means for it.
- ``printable``: text from outside, made fit for one line of a log.
- ``redact``: what may be shown of a message or an address.
- ``scanned_link``: which scanned configuration links are followed.
- ``sealed``: values that are read by their name only, and never shown by accident.
- ``signing``: the signature scheme: canonical string, sign, verify.
- ``stored``: how records become the JSON of stores and inboxes, and are read again.
- ``userfunctions``: whether a function that a user hands in can serve.
- ``values``: amounts in fen and times in GMT+8.
- ``wire``: forms and JSON texts become typed fields, and come from them.
"""
