"""Listeners, webhooks, API and pages."""
