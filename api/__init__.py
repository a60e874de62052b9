"""HTTP in, HTTP out: the FastAPI application. It reads and writes through `models`, and never imports `activities`."""
