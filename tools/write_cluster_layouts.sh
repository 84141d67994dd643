#!/usr/bin/env bash
# Writes examples/cluster/layouts anew: for 1, 2, 8 and 64 nodes of eight H100s the fastest layout of each model, by the
# planner's search. A model that fits on no layout of so many GPUs has no file, and the planner says by how much.
# usage: tools/write_cluster_layouts.sh      (a few minutes; again after a change of the planner or of its constants)
set -euo pipefail
cd "$(dirname "$0")/.."
layouts=examples/cluster/layouts
mkdir -p "$layouts"
for model in 470m 2_8b 7b 13b 70b; do
    for nodes in 1 2 8 64; do
        file=$layouts/${model}_${nodes}x8.yaml
        rm -f "$file"
        said=$("${PYTHON:-python}" -m megatron_codemix plan "examples/cluster/$model.yaml" --gpu h100 --gpus $((8 * nodes)) \
            --search --top 1 --write "$file" 2>&1) || true
        if [[ -f $file ]]; then
            echo "$file: $(sed -n 's/^# Predicted: //p' "$file")"
        else
            echo "$file: none; $(grep -E '^(error|rejected)' <<<"$said" | head -1)"
        fi
    done
done
