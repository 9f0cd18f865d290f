"""Apache Kafka's command line tools: same names, same flags, same output. One module a tool; `main` lists them all."""
