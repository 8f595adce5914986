// Calls the services of docs/MAIN_APP.md as a test asks it to: a line of JSON in, a line out.
import 'reflect-metadata';
import { createInterface } from 'node:readline';
import { NestFactory } from '@nestjs/core';
import { BookingsService } from './bookings.service';
import { HostsService } from './hosts.service';
import { StripeCommandsModule } from './stripe-commands.module';

async function main(): Promise<void> {
  const app = await NestFactory.createApplicationContext(StripeCommandsModule, {
    logger: ['error', 'warn'],
  });
  const services: Record<string, any> = {
    bookings: app.get(BookingsService),
    hosts: app.get(HostsService),
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, service, method, args } = JSON.parse(line);
    services[service][method](...args).then(
      (ok: unknown) => say({ id, ok }),
      (err: any) => say({ id, err: typeof err === 'object' && 'code' in err ? err : String(err) }),
    );
  }
  await app.close();
}

function say(answer: object): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

void main();
