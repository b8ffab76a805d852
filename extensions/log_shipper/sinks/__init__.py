"""Where lines go: each sink knows one service's request, limits and answers, and nothing else."""
