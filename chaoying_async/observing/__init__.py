"""What a program of this library shows of itself to those who watch it.

- ``metric_table``: every metric: its name, kind, labels and help text.
- ``otel``: ``Telemetry``, which makes spans and metrics; needs the extra ``[otel]``.
- ``prometheus``: ``ChaoyingCollector``, which Prometheus reads; needs the extra ``[prometheus]``.
- ``readings``: what each ``stats()`` says, as values of these metrics.
- ``watched``: the objects that are watched, and their readings together.
- ``whole_fleet``: ``WholeFleet``, which reads a fleet's tables every so often; needs ``[sql]``.

Nothing is counted here. Each number stands in the ``stats()`` of its object and is read when it is
asked for, so nothing is counted twice.
"""
