"""The one writer. No other module changes a row.

Each file holds one step of a job's life: `arrival` (enqueue), `release` (the dispatcher's transitions), `claim` and
`record` (a worker's), `resolve` (a person's), `holds`, `circuit_breaker` and `brake` (why nothing is released), `purge`
and `reseal` (what becomes of cases). Every statement names the state that it expects; zero rows means that another
process moved the job, and the caller steps back. All times are the database's.
"""
