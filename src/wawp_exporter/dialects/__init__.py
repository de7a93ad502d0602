"""What gateways send, read into events."""
