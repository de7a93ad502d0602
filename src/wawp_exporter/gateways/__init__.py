"""The gateways' own APIs: reconcile, QR codes, restarts."""
