-- What Prisma 6.19.3 and 7.10.0 make of models.prisma, word for word:
-- prisma migrate diff --from-empty --to-schema models.prisma --script

-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "public";

-- CreateEnum
CREATE TYPE "InvoiceStatus" AS ENUM ('DRAFT', 'SENT', 'PAID');

-- CreateEnum
CREATE TYPE "HostOnboardingStatus" AS ENUM ('UNKNOWN', 'INCOMPLETE', 'IN_REVIEW', 'ENABLED', 'RESTRICTED_SOON', 'RESTRICTED', 'PAUSED', 'REJECTED', 'DISCONNECTED');

-- CreateTable
CREATE TABLE "Booking" (
    "id" SERIAL NOT NULL,

    CONSTRAINT "Booking_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Invoice" (
    "id" SERIAL NOT NULL,
    "bookingId" INTEGER NOT NULL,
    "stripeInvoiceId" TEXT NOT NULL,
    "pdfUrl" TEXT NOT NULL,
    "amount" DECIMAL(65,30) NOT NULL,
    "currency" TEXT NOT NULL,
    "status" "InvoiceStatus" NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "Invoice_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "HostOnboarding" (
    "stripeAccountId" TEXT NOT NULL,
    "hostId" TEXT,
    "status" "HostOnboardingStatus" NOT NULL,
    "canSell" BOOLEAN NOT NULL,
    "chargesEnabled" BOOLEAN NOT NULL,
    "payoutsEnabled" BOOLEAN NOT NULL,
    "detailsSubmitted" BOOLEAN NOT NULL,
    "currentlyDue" TEXT[],
    "pastDue" TEXT[],
    "eventuallyDue" TEXT[],
    "pendingVerification" TEXT[],
    "disabledReason" TEXT,
    "currentDeadline" TIMESTAMP(3),
    "type" TEXT,
    "country" TEXT,
    "defaultCurrency" TEXT,
    "lastEventAt" TIMESTAMP(3) NOT NULL,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "futureDue" TEXT[],

    CONSTRAINT "HostOnboarding_pkey" PRIMARY KEY ("stripeAccountId")
);

-- CreateIndex
CREATE UNIQUE INDEX "Invoice_bookingId_key" ON "Invoice"("bookingId");

-- AddForeignKey
ALTER TABLE "Invoice" ADD CONSTRAINT "Invoice_bookingId_fkey" FOREIGN KEY ("bookingId") REFERENCES "Booking"("id") ON DELETE RESTRICT ON UPDATE CASCADE;
