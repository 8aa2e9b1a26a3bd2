"""The follow-up migration: an app, installed only when it is asked for, that drops the five legacy columns."""
