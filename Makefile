# cloudbeds-auth: `make demo` shows the whole journey, `make test` proves it; both set themselves up.
# Everything lives in .venv beside this file; delete that folder to start afresh.

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/dev.txt
EXTRAS := server fastapi flask django postgres otel httpx requests sdk
STAMP := $(VENV)/.lock-hash
LOCKING := --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --quiet
# More than there are cores: many tests wait for real processes.
WORKERS ?= $(shell echo $$(( $$(nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2) * 2 + 1 )))
TESTS ?= tests
# Where tests write: every commit of a database is flushed, which takes a third of their time on a disk and none of it
# in memory. What a flush is good for, tests/simulation asks of a disk of its own. A small /dev/shm is left alone.
PLACE ?= $(or $(shell df -Pk /dev/shm 2>/dev/null | awk '$$6 == "/dev/shm" && $$4 > 2000000 {print $$6}'),$(TMPDIR),/tmp)
IN_PLACE = place=$$(mktemp -d "$(PLACE)/cloudbeds-auth.XXXXXX") && chmod 755 "$$place" && trap 'rm -rf "$$place"' EXIT && trap 'exit 130' INT TERM && TMPDIR="$$place"
SECONDS ?= 60
HOTELS ?= 1000000
TRIALS ?= 500
STORE ?= disk

# The first interpreter that is new enough and can make virtual environments.
define FIND_PYTHON
for p in $$PYTHON python3.11 python3.12 python3.13 python3.14 python3; do \
  "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; exit 0; }; \
done; \
echo "cloudbeds-auth needs Python 3.11 or newer with venv: install it (Debian: apt-get install python3 python3-venv) or set PYTHON=/path/to/python" >&2; exit 1
endef

# The tests start hundreds of processes: without bytecode in the clone each of them would compile the library anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv demo test oldest test-oldest test-long test-plugin system browser test-browser images test-node test-strangers audit fuzz strangers test-pgbouncer test-namespaces test-instructions test-wheel test-secrets test-rules test-shells test-deploy test-image release-tools dist release-check coverage mutation bench scale prove proof crash test-crash lint types verify-types contract docs lock check clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Made anew when the lock's content (not its date) or the interpreter changes; our own package is put in again when
# pyproject.toml changes. An interrupted build leaves no stamp, so the next one starts afresh.
venv: ## make .venv from the hash-pinned lock
	@python=$$($(FIND_PYTHON)) || exit 1; \
	sum() { "$$python" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest(), sys.version.split()[0])' "$$1"; }; \
	lock=$$(sum $(LOCK)) && project=$$(sum pyproject.toml) || exit 1; \
	if [ "$$(cat $(STAMP) 2>/dev/null)" != "$$lock" ] || ! $(BIN)/python -c '' 2>/dev/null; then \
	  echo "setting up $(VENV) with $$python (once, about half a minute)"; \
	  rm -rf $(VENV) && "$$python" -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK) || exit 1; \
	  echo "$$lock" > $(STAMP); \
	fi; \
	if [ "$$(cat $(STAMP)-project 2>/dev/null)" != "$$project" ]; then \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . || exit 1; \
	  echo "$$project" > $(STAMP)-project; \
	  echo "ready: $(BIN)/cloudbeds-auth, and $(BIN)/python for programs that import it"; \
	fi

demo: venv ## the whole journey against the simulator, step by step; STAY=1 leaves both running, to watch them side by side
	@$(BIN)/cloudbeds-auth demo $(if $(STAY),--stay)

test: venv ## the tests that need nothing else, the import contract included; long ones are left out, and folders named by WITHOUT=
	@$(IN_PLACE) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(patsubst %,--ignore=tests/%,pytest_plugin $(WITHOUT)) $(TESTS)

oldest: venv
	@test -d .venv-oldest || $(BIN)/python -m venv .venv-oldest
	@.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/oldest.txt
	@.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .

test-oldest: oldest ## what leans on other packages, with the oldest versions of them that pyproject.toml allows
	@$(IN_PLACE) .venv-oldest/bin/python -m pytest -n $(WORKERS) --dist worksteal -m "not long" \
	  tests/acceptance tests/app tests/cli tests/contrib tests/database tests/observe tests/postgres tests/settings tests/simulator tests/vault tests/wire

test-long: venv ## what `make test` leaves out: simulation, processes, examples that begin servers (the engine over SQLite: coverage; over PostgreSQL: test-pgbouncer)
	@$(IN_PLACE) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m long -k "not (vault and postgresql)" \
	  tests/acceptance tests/app tests/cli tests/contrib tests/docs tests/postgres tests/simulation tests/simulator tests/database tests/transactions

test-plugin: venv ## the pytest plugin in users' suites, each a pytest of its own
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/pytest_plugin

system: ## what needs system packages (Debian, as root): a browser, buildah, a pooler, network namespaces, valgrind, slowhttptest, nginx, PHP, promtool, systemd-analyze, zsh and fish, Node where it is missing
	apt-get update -qq && apt-get install -y -qq --no-install-recommends buildah chromium fish iproute2 mmdebstrap netavark nginx pgbouncer php-cli php-curl prometheus slowhttptest systemd valgrind zsh
	@node --version && npm --version || apt-get install -y -qq --no-install-recommends nodejs npm

browser: venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/browser.txt

test-browser: browser ## the pages in a real browser, and axe-core on each (needs `make system`)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/browser

images: browser ## docs/images: every page that people look at, or those with ONLY=link in their name (needs `make system`)
	@$(BIN)/python -m tests.browser.images $(ONLY)

test-node: venv ## a program in another language behind the proxy: Node with axios, PHP with curl (needs `make system`)
	@$(BIN)/python -m pytest tests/node

strangers: venv
	@test -d .venv-strangers || $(BIN)/python -m venv .venv-strangers
	@.venv-strangers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/strangers.txt

test-strangers: strangers ## other people's tools against the service: Schemathesis, sqlmap, slowhttptest (needs `make system`)
	@$(BIN)/python -m pytest tests/strangers

audit: strangers ## known vulnerabilities of what is locked; says where its data cannot be reached
	@$(BIN)/python -m tests.strangers.audit

fuzz: venv ## every parser of what comes from outside under a coverage-guided fuzzer, SECONDS=60 in all (Linux)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@$(BIN)/python -m tests.fuzzing.fuzz --seconds $(SECONDS)

test-pgbouncer: venv ## what rests on PostgreSQL once more, behind PgBouncer in transaction mode (needs `make system`)
	@$(BIN)/python -m tests.support.pgbouncer pytest -n $(WORKERS) --dist worksteal \
	  tests/postgres/test_troubles.py tests/database tests/transactions tests/engine \
	  tests/crash/test_crowds.py tests/crash/test_paused.py tests/crash/test_random.py tests/acceptance/test_herd.py \
	  -k "postgres or two_machines"
	@$(BIN)/python -m pytest tests/pgbouncer

test-namespaces: venv ## eight processes on each of two machines, which are network namespaces (as root, needs iproute2)
	@$(BIN)/python -m pytest tests/namespaces

test-instructions: venv ## what each call costs, in instructions that no clock has a part in (needs `make system`)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/instructions

coverage: venv ## every branch of rules, transactions and engine is taken by a test
	@place=$$(mktemp -d) && trap 'rm -rf "$$place"' EXIT && export COVERAGE_FILE="$$place/data" && \
	$(BIN)/python -m coverage run -m pytest -n $(WORKERS) --dist worksteal tests/rules tests/transactions tests/engine \
	  -k "not postgresql" && \
	$(BIN)/python -m coverage combine --quiet "$$place" && \
	$(BIN)/python -m coverage report \
	  --include='*/cloudbeds_auth/rules/*,*/cloudbeds_auth/transactions/*,*/cloudbeds_auth/engine/*' \
	  --fail-under=100 --precision=2 --show-missing --skip-covered

mutation: venv ## mutants of rules and engine that no test notices (long, one process)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/mutation.txt
	@place=$$(mktemp -d) && trap 'rm -rf "$$place"' EXIT && \
	cp -R src pyproject.toml "$$place" && mkdir "$$place/tests" && touch "$$place/README.md" && \
	cp -R tests/conftest.py tests/support tests/rules tests/engine "$$place/tests" && \
	cp tests/mutation/mutmut.cfg "$$place/setup.cfg" && \
	(cd "$$place" && nice -n 10 "$(CURDIR)/$(BIN)/mutmut" run --max-children 1 $(MUTANTS) >mutmut.log || { tail -40 mutmut.log; exit 1; }) && \
	$(BIN)/python -m tests.mutation.score "$$place"

bench: venv ## what it costs, beside what people use instead: writes docs/benchmarks.md, unless GROUPS names some (Linux, two cores; needs nginx, wrk and node)
	@test -d .venv-bench || $(BIN)/python -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@cd benchmarks/peers/express && npm ci --silent --no-audit --no-fund
	@.venv-bench/bin/python -m benchmarks $(or $(GROUPS),--write)

scale: venv ## how it goes with HOTELS=1000000 over both databases (or ONLY=sqlite): writes docs/scale.md, unless ROWS names some (Linux, 15 GB where TMPDIR is)
	@$(BIN)/python -m benchmarks.scale --hotels $(HOTELS) $(if $(ONLY),--only $(ONLY)) $(or $(ROWS),--write)

test-wheel: venv ## what a user installs: the built wheel, without extras and with them, in environments of their own
	@place=$$(mktemp -d) && trap 'rm -rf "$$place"' EXIT && \
	$(BIN)/python -m hatchling build -t wheel -d "$$place" >/dev/null && \
	$(BIN)/python -m venv "$$place/venv" && cd "$$place" && \
	venv/bin/python -m pip install --quiet --disable-pip-version-check ./*.whl && \
	venv/bin/cloudbeds-auth --version && \
	venv/bin/python -c 'import sys, cloudbeds_auth.sync; assert "fastapi" not in sys.modules' && \
	{ venv/bin/cloudbeds-auth demo 2>&1 || true; } | grep -F "cloudbeds-auth[server]" && \
	for extra in httpx requests sdk flask django; do \
	  { venv/bin/python -c "import cloudbeds_auth.contrib.$$extra" 2>&1 || true; } | grep -F "cloudbeds-auth[$$extra]" && \
	  venv/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo ./*.whl)[$$extra]" && \
	  venv/bin/python -c "import cloudbeds_auth.contrib.$$extra" || exit 1; \
	done && \
	venv/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo ./*.whl)[pytest]" && \
	printf 'def test_it(cloudbeds_sync_vault, cloudbeds_connection):\n    assert cloudbeds_sync_vault.resolve("100001") == cloudbeds_connection.id\n' > test_it.py && \
	venv/bin/python -m pytest -q -W error test_it.py && \
	venv/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo ./*.whl)[server]" && \
	venv/bin/cloudbeds-auth demo

test-secrets: venv ## no secret in any line of the history, nor in wheel and sdist
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/secrets.txt
	@$(BIN)/python -m pytest tests/secrets

test-rules: venv ## alert rules, dashboard and metrics, by promtool: their form, and what fires at which series (needs `make system`)
	@$(BIN)/python -m pytest tests/prometheus

test-shells: venv ## the Tab key in bash, zsh and fish (needs `make system`)
	@$(BIN)/python -m pytest tests/shells

test-image: venv ## the Containerfile built by buildah over a base of Debian's packages, and run (as root, needs `make system`)
	@$(BIN)/python -m pytest tests/image

test-deploy: venv ## the systemd unit by systemd's own checker, the Containerfile's parts, and the service behind nginx (needs `make system`)
	@$(BIN)/python -m pytest tests/deploy

release-tools: venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/release.txt

dist: release-tools ## wheel, sdist, SBOM and checksums of the commit that is checked out, in dist/
	@$(BIN)/python -m tests.release.build dist && cat dist/SHA256SUMS

release-check: release-tools ## what `make dist` makes: built twice it is the same, its metadata is whole, it installs from the lock
	@$(BIN)/python -m pytest tests/release

prove: venv ## the rotation protocol in simulation: SECONDS=60 or SEEDS=1000, STORE=disk or memory, RESUME=file
	@$(BIN)/python -m tests.simulation.prove $(if $(SEEDS),--seeds $(SEEDS),--seconds $(SECONDS)) --workers 2 \
	  --store $(STORE) --controls $(if $(RESUME),--resume $(RESUME))

proof: venv ## docs/proof.md from the records in docs/proof
	@$(BIN)/python -m tests.simulation.report docs/proof/* > docs/proof.md

crash: venv ## SIGKILL at random microseconds over real SQLite: TRIALS=500 of a vault, a fifth as many of the service
	@$(BIN)/python -m tests.crash.kill --trials $(TRIALS) --workers 2 --variant all
	@$(BIN)/python -m tests.crash.kill --service --trials $$(($(TRIALS) / 5)) --workers 2 --variant all

test-crash: venv ## every kill point, paused and full-disk processes, over real SQLite
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/crash

lint: venv ## ruff: rules and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: venv ## mypy, strict
	@$(BIN)/mypy

verify-types: venv ## every public name has a type, and one that all type checkers agree on (installs basedpyright)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/types.txt
	@place=$$(mktemp -d) && trap 'rm -rf "$$place"' EXIT && cd "$$place" && PATH="$(CURDIR)/$(BIN):$$PATH" && \
	{ basedpyright --verifytypes cloudbeds_auth --ignoreexternal > report || { cat report; exit 1; }; } && \
	grep "completeness score" report

contract: venv ## who may import whom
	@$(BIN)/lint-imports --no-cache

docs: venv ## the documentation site, warnings are errors; how many of its blocks the tests run
	@$(BIN)/sphinx-build -q -E -W --keep-going -b html docs site
	@$(BIN)/python -m tests.docs.counting

check: lint types contract test docs ## lint, types, contract, test and docs

lock: ## pin every dependency with hashes and without addresses (needs uv, and npm)
	uv pip compile $(LOCKING) --extra dev -o $(LOCK) pyproject.toml
	uv pip compile $(LOCKING) --no-annotate --resolution lowest-direct --no-deps $(addprefix --extra ,$(EXTRAS)) -o requirements/.oldest.txt pyproject.toml
	uv pip compile $(LOCKING) --extra dev --constraint requirements/.oldest.txt -o requirements/oldest.txt pyproject.toml
	rm requirements/.oldest.txt
	uv pip compile $(LOCKING) --group browser --constraint $(LOCK) -o requirements/browser.txt
	uv pip compile $(LOCKING) --group types --constraint $(LOCK) -o requirements/types.txt
	uv pip compile $(LOCKING) --extra server --extra postgres --extra httpx --extra requests --extra pytest --group bench --constraint $(LOCK) -o requirements/bench.txt pyproject.toml
	uv pip compile $(LOCKING) --extra server --extra postgres --extra otel --constraint $(LOCK) -o requirements/service.txt pyproject.toml
	uv pip compile $(LOCKING) --group release --constraint $(LOCK) -o requirements/release.txt
	uv pip compile $(LOCKING) --group secrets --constraint $(LOCK) -o requirements/secrets.txt
	uv pip compile $(LOCKING) --group mutation --constraint $(LOCK) -o requirements/mutation.txt
	uv pip compile $(LOCKING) --group fuzz --constraint $(LOCK) -o requirements/fuzz.txt
	uv pip compile $(LOCKING) --group strangers -o requirements/strangers.txt
	for folder in tests/node tests/browser; do \
	  (cd $$folder && rm -f package-lock.json && npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund) || exit 1; \
	done

clean: ## remove what the targets made
	rm -rf $(VENV) .venv-bench .venv-oldest .venv-strangers site .mypy_cache .ruff_cache .hypothesis .import_linter_cache
