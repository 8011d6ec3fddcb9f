"""The API server as the operator sees it: one gateway port, its adapter on the official client, and errors with a next step."""
