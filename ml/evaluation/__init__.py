"""How quality is measured: splits by time, ranking metrics, paired intervals, promotion rules."""
