#!/usr/bin/env bash
# Fills corpus/readers with one file a format and a few variants: the fixtures of the tests, and
# small texts written here.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p corpus/readers
cp ../tests/data/curves/* corpus/readers/

rows() { # rows FORMAT: twelve rows, with %s for step, learning rate and loss
    for i in $(seq 0 11); do
        # shellcheck disable=SC2059
        printf "$1" "$((i * 10))" "0.000$((20 - i))" "3.$((99 - i))"
    done
}
write() { cat >"corpus/readers/$1"; }

{ echo step,lr,loss; rows '%s,%s,%s\n'; } | write a.csv
{ printf '"Step"\t"a - train/loss"\t"a - lr"\t"b - loss"\t"b - lr"\n'
  rows '%s\t%s\t%s\t1\t"2"\n'; } | write wandb.tsv
{ echo '# blanks'; echo iter lr val_loss; rows '%s %s %s\n'; } | write b.txt
rows '{"step":%s,"lr":%s,"loss":%s,"tokens":9}\n' | write metrics.jsonl
{ rows '{"_step":%s,"train":{"lr":%s,"loss":%s}}\n'; echo '{"_step":120,"val_loss":NaN}'; } | write nested.jsonl
{ echo '{"log_history":['; rows '{"step":%s,"learning_rate":%s,"loss":%s},\n'
  echo '{"step":120,"train_runtime":1.5,"train_loss":3.1}]}'; } | write trainer_state.json
{ echo '{"summary":{},"config":{"warmup_steps":20,"n_params":1e6},"history":{"train":['
  rows '{"iter":%s,"train_lr":%s,"train_loss":%s},\n'
  echo '{"iter":130}],"val":{"iter":[0,130],"val_loss":[4,"Infinity"]}}}'; } | write wandb.json
echo '{"a":{"step":{"0":0,"1":1},"loss":{"0":5,"1":4}},"b":[{"iter":1,"loss":2}]}' | write several.json
{ echo 'number of parameters: 123.59M'; rows 'iter %s: lr %s, loss %s, time 12ms\n'
  echo 'step 120: train loss 3.1, val loss 3.2'; } | write nanogpt.log
rows ' iteration %s/ 500 | learning rate: %sE-04 | lm loss: %sE+00 |\n' | write megatron.log
