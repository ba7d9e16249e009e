"""The books of the gateway, and every rule about the money in them, without I/O, clock or dice."""
