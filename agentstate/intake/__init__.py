"""From the documents of a request for proposals to project state: plain functions, without Django."""
