"""Everything that is bytes and meanings in Kafka's protocol; the bottom of the project.

What it is: the tables of APIs and errors, the message schemas, and the codec that turns them into bytes and back.
What it is not: no sockets, no clock, no policy. Record batches live in the extension, not here.
Nothing is imported eagerly: a process pays only for the messages it speaks.
"""
