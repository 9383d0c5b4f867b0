package main

import "context"

func (t *trial) command(ctx context.Context) error { return ctx.Err() }
