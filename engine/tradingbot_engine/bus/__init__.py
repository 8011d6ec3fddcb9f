"""Between the stages: queues that know priorities, deadlines and limits."""
