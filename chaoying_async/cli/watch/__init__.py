"""The parts of ``chaoying watch``: what to wait for, and how to show it.

- ``csv_rows``: reads rows of CSV: separator, header, and where a mistake is.
- ``damaged_numbers``: recognises numbers that a spreadsheet has damaged.
- ``watch_list``: makes queries of the command line, of a file and of a pipe.
- ``progress``: shows how it goes: a live display on a terminal, plain lines elsewhere.
"""
