"""From parsed lines to sorted, disjoint entries, in memory or outside it, on one core or on all."""
