"""Fraud decisions on orders: what is counted, how it is learnt from, and how money decides. No I/O."""
