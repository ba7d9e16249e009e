"""What the gateway takes and says, described for programs in any language.

Everything is made of the request classes, the result classes and the words under their fields, so
that a description cannot say anything else than the code.

- ``plain_words``: words of fields and calls without what is about this library only.
- ``field_schemas``: a JSON Schema for each single field, as it travels.
- ``message_schemas``: a JSON Schema for each request, reply and notification.
- ``signing_guide``: how a message is signed, with an example to try one's own code on.
- ``openapi``: every call as an OpenAPI 3.1 document.
- ``asyncapi``: both notifications as an AsyncAPI 3.0 document.
"""
