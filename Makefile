# Each target is a command of scripts/dev.py, which needs only Python: make test ARGS="-k retry"

COMMANDS = demo test chaos guards lint format servers bench screenshots shell

help:  ## what there is
	@echo "make demo         migrate, fill and serve a demonstration with a worker"
	@echo "make test         run the tests on SQLite, PostgreSQL and MariaDB"
	@echo "make chaos        try every fault there is on each database, and report"
	@echo "make guards       take each guard out of the engine, and see which test misses it"
	@echo "make lint         check style, types, layers and templates"
	@echo "make format       rewrite the code in the house style"
	@echo "make servers      keep a throw-away PostgreSQL and MariaDB until Ctrl-C"
	@echo "make bench        measure dbq beside its peers, an hour or more; ARGS=engine dbq alone, ARGS=console"
	@echo "make screenshots  photograph every page into docs/screenshots"
	@echo "make shell        open Django's shell"
	@echo
	@echo 'Arguments are passed on: make test ARGS="--only sqlite -k retry"'

$(COMMANDS):
	@python3 scripts/dev.py $@ $(ARGS)

.PHONY: help $(COMMANDS)
