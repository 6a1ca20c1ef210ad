"""The naive control: the order engine of a textbook, on the same stores, under the same faults, before the same judge.

One Celery task an order with `acks_late`, statuses saved by plain updates, what was sent saved after it was sent, a
supervisor that starts again what died.  Nothing in it is meant to be wrong; it is what one writes first.
"""
