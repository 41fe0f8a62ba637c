"""What a run showed: `report*`, its page and JSON, with their templates; `render*`, the terminal."""
