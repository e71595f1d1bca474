"""The plan document: its model, strict reading, checks, schema and inputs. Pure: no Trio."""
