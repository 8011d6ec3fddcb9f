"""Several pods trade one bot: which member owns which shard, and who is a member at all."""
