"""From regions of array maths to loops: classes, legality, schedules and emission."""
