"""The pages of the console, one module for each kind of page.

- ``latest_orders``: the list of orders, and making a new order.
- ``one_order``: one order, what happened to it, and what people can do to it.
- ``order_explained``: what a shop can prove of one order, and what it is to do next.
- ``message_log``: the latest requests and replies, and one of them with its signatures.
- ``delivery_log``: the attempts to deliver notifications, and sending one by hand.
- ``fault_plans``: switching faults on and off, and choosing a scenario for all payments.
- ``api_reference``: every call and notification with its fields, and the descriptions for programs.
- ``signature_doctor``: the signature doctor's verdict on a message.
- ``sent_again``: forms from before a restart, which are shown again as they were sent.
- ``login``: logging in and out, and choosing a language.
"""
