"""The durable journal of intents, attempts and fills, and the only judge of who may write."""
