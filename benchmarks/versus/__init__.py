"""Side by side with Apache Kafka, in turns, beside the machine's own limits; it shows losses as plainly as wins."""
