#!/usr/bin/env bash
# From a bare machine to a trained model: installs, builds, generates a graph, trains on 4 workers.
# The last line on stdout is the test accuracy. Everything it writes lies under build/, and may be deleted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

demo=$root/build/demo
graph=$demo/graph
run=$demo/run
export GSPLIT_CACHE=$demo/cache

# Prints a field of the run's last event; fails where the run did not come to its end.
run_end() {
  "$python" - "$run/events.jsonl" "$1" <<'PYTHON'
import json
import sys

path, field = sys.argv[1:]
with open(path, encoding="utf-8") as lines:
    last = [json.loads(line) for line in lines][-1]
if last["event"] != "run_end":
    sys.exit(f"{path} ends with {last['event']}, not with run_end")
print(last[field])
PYTHON
}

say "Install"
"$root/deploy/install.sh"
say "Build"
"$root/deploy/build.sh"

say "Generate a graph of 50,000 nodes and 1,000,000 edges"
rm -rf "$demo"
mkdir -p "$demo"
"$gsplit" generate --kind sbm --nodes 50000 --degree 20 --features 64 --classes 10 --seed 0 --out "$graph"

say "Train a GraphSAGE of two layers on 4 workers"
mpirun -n 4 --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 \
  "$gsplit" train "$graph" --run-dir "$run" --fanout 10,5 --hidden 64 --batch-size 512 --epochs 10

say "Result"
validation=$(run_end best_valid_acc)
accuracy=$(run_end test_acc)
echo "best validation accuracy, full neighbourhood: $validation"
echo "events:  $run/events.jsonl"
echo "config:  $run/config.yaml"
echo "weights: $run/checkpoints/best/model.safetensors"
echo "test accuracy: $accuracy"
