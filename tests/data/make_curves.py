"""Writes the fixtures in curves/ with the libraries that write such files in the wild.

All hold one run: step 0, 10, ..., 190; lr 1e-3 falling by 4e-5 a row from row 10 on; loss 4 - row/16, in float32
where the format has it. Run once with pandas 2, without pyarrow, and with pandas 3 with and
without it; each run writes what it can.

    python make_curves.py
"""

import os
import pickle
import sys

import numpy as np
import pandas as pd

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "curves"))
rows = np.arange(20)
step = 10 * rows
lr = 1e-3 - 4e-5 * np.maximum(rows - 10, 0)
loss = 4 - rows / 16
df = pd.DataFrame({"step": step, "lr": lr, "loss": loss.astype("f4")})

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    pa = None

pandas = "pandas" + pd.__version__.split(".")[0] + ("" if pa else "_bare")
for protocol in (2, 3, 4, 5):
    # One frame each way: mixed blocks; two columns in one block behind a gap; the step as index;
    # a selection of rows; text beside numbers; plain lists and arrays.
    wide = pd.DataFrame({"loss": loss, "text": "x", "lr": lr, "step": step})
    twice = pd.concat([df[["step"]], pd.DataFrame(np.stack([lr, loss], 1), columns=["lr", "loss"])], axis=1)
    frames = {
        "mixed": df,
        "indexed": df.set_index("step"),
        "picked": pd.concat([df, df * 7])[df.columns[::-1]][:20],
        "twice": twice,
        "arrays": {"step": step, "lr": list(lr), "loss": loss.tolist()},
        "numbered": pd.DataFrame({"lr": lr, "loss": loss}, index=step),
        "big": pd.DataFrame({"step": step.astype(">i4"), "lr": lr, "loss": loss}),
        "wide": wide,
    }
    with open(f"{pandas}_{protocol}.pkl", "wb") as out:
        pickle.dump(frames, out, protocol=protocol)
df.to_pickle(f"{pandas}_one.pkl")

if pa:
    table = pa.table(
        {
            "step": pa.array(step, pa.int32()),
            "lr": pa.array([None if r == 3 else v for r, v in zip(rows, lr)], pa.float64()),
            "loss": pa.array(loss, pa.float32()),
            "note": pa.array([f"row {r}" for r in rows]),
        }
    )
    for name, options in {
        "snappy": {},
        "plain": {"compression": "none", "use_dictionary": False},
        "gzip": {"compression": "gzip", "data_page_version": "2.0"},
        "lz4": {"compression": "lz4", "row_group_size": 7},
        "delta": {
            "compression": "snappy",
            "use_dictionary": False,
            "column_encoding": {"step": "DELTA_BINARY_PACKED", "loss": "BYTE_STREAM_SPLIT"},
        },
        "zstd": {"compression": "zstd", "version": "1.0"},
        "brotli": {"compression": "brotli"},
    }.items():
        pq.write_table(table, f"{name}.parquet", **options)
    # Columns that are no numbers of their row come first.
    table = table.add_column(0, "list", pa.array([[1.0, 2.0]] * 20))
    table = table.add_column(1, "pair", pa.array([{"a": 1, "b": None}] * 20))
    pq.write_table(table, "nested.parquet", data_page_version="2.0", compression="none")

try:
    import tensorboardX
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
except ImportError:
    sys.exit()

writer = tensorboardX.SummaryWriter(logdir="tensorboardx")
for r in rows:
    writer.add_scalar("train/loss", loss[r], step[r])
    writer.add_scalar("lr", lr[r], step[r])
    writer.add_text("note", "x", step[r])
writer.close()

# As TensorFlow 2 and its kin: scalars as tensors, three ways.
writer = EventFileWriter("tensorboard")
for r in rows:
    tensors = [
        ("loss/train", TensorProto(dtype=1, tensor_content=np.float32(loss[r]).tobytes())),
        ("learning_rate", TensorProto(dtype=1, float_val=[lr[r]])),
        ("loss/val", TensorProto(dtype=2, double_val=[loss[r] + 1])),
    ]
    values = [Summary.Value(tag=t, tensor=v, metadata=SummaryMetadata()) for t, v in tensors]
    writer.add_event(Event(step=int(step[r]), summary=Summary(value=values)))
writer.close()
for folder in ("tensorboardx", "tensorboard"):
    for name in os.listdir(folder):
        os.rename(os.path.join(folder, name), folder + ".tfevents")
    os.rmdir(folder)
