"""The frozen network in as few bytes as its entropy allows, nearly."""
