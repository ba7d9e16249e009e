"""What the document demands of a message and how it is signed, written apart from the client."""
